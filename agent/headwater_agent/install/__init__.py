"""Sets a device up: users, folders and hardened systemd units, and takes them away again."""
