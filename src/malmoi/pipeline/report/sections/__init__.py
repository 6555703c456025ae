"""The sections of the report; each reads the stages it is about, and is None when there are none."""
