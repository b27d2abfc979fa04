"""``python -m headwater`` is the ``headwater`` command."""

from headwater.entry import main

main()
