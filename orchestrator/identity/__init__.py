"""Who asks: tokens, browser sessions, and the roles that say what each may do."""
