"""The playground: a page on this machine, on which a text is read token by token and layer by layer
along a model's emotion directions, and written on under them.

desk       what can be asked: reading, writing, a direction's file; no page
pictures   tables of readings as figures
page       the page, of Gradio (extra `play`)
door       who is let in: this machine, with the token in the address

Nothing here measures: what a direction does is measured by `interp evaluate-steering`.
"""
