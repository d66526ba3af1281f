"""From a dataset folder to a model of one's own: advice, training here and at a provider, evaluation, promotion.

Knows nothing of the proxy: what it reads is a dataset's folder, what it asks is an OpenAI-compatible URL. PyTorch and
its libraries are imported only by the functions that train.
"""
