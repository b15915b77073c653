"""The admin port of a bridge worker: figures for Prometheus, views and actions for operators."""
