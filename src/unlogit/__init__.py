"""What a frozen image classifier still knows about a picture once only its logits are left."""
