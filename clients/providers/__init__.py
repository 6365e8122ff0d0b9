"""Clients of what metrics come from, besides agents. Each raises ProviderDown or ProviderRefused."""
