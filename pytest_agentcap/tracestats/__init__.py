"""What sessions took: model steps and tool calls of runs and of AgentTrace's files, counted and compared."""
