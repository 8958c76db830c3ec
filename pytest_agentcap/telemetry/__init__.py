"""What a session's model steps and tool calls took: derived from captures, and measured from outside the sandbox."""
