"""What several tests need: batteries, tiny models, fakes. No tests."""
