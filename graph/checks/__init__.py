"""What `validate` finds in a graph whose shape is right."""
