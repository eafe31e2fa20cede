"""The viewer: a world played at a keyboard. Its window needs pygame-ce; what lies beneath does not."""
