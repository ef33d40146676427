"""A hub connection: SignalR over a WebSocket, decoding, and the actor that owns the loop."""
