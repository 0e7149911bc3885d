"""A generator that binds names to meanings by arithmetic, in training: a prototype that nothing serves yet.

It learns for a published edge model (SmolLM2-135M). The LoRA of a projection is `B (G0 + G) A`. The core G is a sum,
over the parts of a description, of outer products value x key. The key is what a part means to a frozen sentence
encoder, the value is how the edge model spells it. So a name that training never met can be answered. Neither the bank
format nor the recipe holds such cores yet, and the cloud service cannot load them: see the lab log of 2026-11-28.
"""
