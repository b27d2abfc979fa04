"""How operators take a leading axis of members: one rule for each, in one table.

A rule takes a :class:`.rule.Call`, one node with its inputs in the stacked graph, and returns the
node's outputs there. An input is a member's own, and then has the axis ``M`` in front of those
it had, or shared by all members, and is as it was. Rules leave the axis away for as long as they
can: what is computed of shared values alone is computed once, and what meets a member's own
value is broadcast.
"""
