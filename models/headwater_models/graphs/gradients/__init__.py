"""How gradients pass back through operators: one rule for each, in one table.

A rule takes a node and the gradient of each of its outputs (None where there is none), and
returns a gradient for each input: None where none flows (indices, shapes, conditions), and the
last ones may be left out. Three things a rule need not mind: it may return a gradient in the
shape to which the input was broadcast (the caller sums it down); it may compute gradients nobody
asked for (they are left out when the graph is encoded); and it may build the same expression
twice (the graph keeps one).
"""
