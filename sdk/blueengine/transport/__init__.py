"""The data plane: messages between instances, and the blob store for payloads too large for them."""
