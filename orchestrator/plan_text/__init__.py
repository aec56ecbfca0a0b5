"""How a plan is spelled: YAML with places in, a plan or every problem out."""
