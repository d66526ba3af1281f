"""What advice is made of: measures of a dataset, the matrix that picks a way, what each way costs, few-shot prompts."""
