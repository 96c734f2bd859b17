"""What a model is given: texts, conversations and chat templates as tokens, and where a text
ends.
"""
