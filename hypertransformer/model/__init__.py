"""The HyperTransformer itself: support images -> tokens -> weight blocks -> CNN -> logits."""
