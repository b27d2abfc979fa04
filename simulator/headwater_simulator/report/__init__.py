"""What a simulation came to: JSON for programs, Markdown and a page for people."""
