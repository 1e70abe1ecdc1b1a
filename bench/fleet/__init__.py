"""Many machines measure one run, with Ray: `bench fleet`.

Ray carries requests and answers; it measures nothing, and it retries nothing.
"""
