"""The message log: writer, reader, and the recorder actor."""
