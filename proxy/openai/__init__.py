"""The shapes of the OpenAI API as pure functions: bytes in, facts out. No file here reads or writes anything."""
