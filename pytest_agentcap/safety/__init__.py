"""What an agent tried to do, read from the tool calls that went over the wire and from what it left."""
