"""Generated from protos/services/internal/keda: what KEDA asks of us."""
