"""The planner: a page in the browser on which the objects of a scenario are moved.

`library` loads the scenarios that the page opens, `scene` describes them to the page, `results`
computes maps and numbers with the public functions, and `server` answers the page's requests. The
page itself is in ``static``. Needs the extra ``plan``.
"""
