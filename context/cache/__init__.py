"""The cache over a store: it makes reads faster and never makes an answer wrong."""
