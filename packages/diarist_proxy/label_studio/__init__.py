"""Label Studio as it is spoken in 1.23.

In the order in which a task meets them: `routes` take what Label Studio sends, `work` queues it and does it, `backend`
is what is done (`own_logic`, where a team does something else), with a recording from `recordings`, what the labeling
config wants from `labeling`, and a `prediction`. `client` speaks to Label Studio, `projects` and `failures` remember,
`corrections` are what people did with it, and `connecting` is what `diarist label-studio setup` does.
"""
