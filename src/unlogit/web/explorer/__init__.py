"""The interactive page: a state, what inverters answer to it, and the page around both."""
