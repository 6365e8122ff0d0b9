"""One Temporal worker process: workflows and activities."""
