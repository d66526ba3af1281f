"""What an exchange used and what it cost: tokens, rate cards, savings, and the function that completes a record."""
