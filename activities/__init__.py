"""The hands: node operations, looks of the judge, records, tokens. Each activity may be repeated safely."""
