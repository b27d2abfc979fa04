"""What a simulated fleet is: one TOML file, checked whole."""
