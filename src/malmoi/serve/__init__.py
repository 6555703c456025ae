"""An OpenAI-compatible server and one small chat page."""
