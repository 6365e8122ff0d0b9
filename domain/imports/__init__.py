"""Files of other systems, read as they are; what cannot be honoured is named, field and reason."""
