"""Gates of both gatings, norms, and the balance term."""

import math

import pytest
import torch

from cloud_service.generator.config import Gating, Norm
from cloud_service.generator.router import Routers, balance_term, gate
from tests.cloud_service.generator.tiny import generator_config

LAYERS, HIDDEN, TASKS = 3, 16, 7


def states(seed: int = 0) -> torch.Tensor:
    return torch.randn(TASKS, LAYERS, HIDDEN, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_topk_softmax_keeps_the_k_largest_and_sums_to_one(top_k: int) -> None:
    config = generator_config(top_k=top_k)
    logits = torch.randn(TASKS, LAYERS, 3, config.experts, generator=torch.Generator().manual_seed(0))
    gates = gate(config, logits)
    assert gates.shape == logits.shape
    assert ((gates != 0).sum(-1) == top_k).all()
    torch.testing.assert_close(gates.sum(-1), torch.ones(TASKS, LAYERS, 3))
    kept = logits.masked_fill(gates == 0, -math.inf)
    assert (kept.softmax(-1) - gates).abs().max() < 1e-6, "the softmax over the kept ones (paper, equation 4)"
    dropped = logits.masked_fill(gates != 0, -math.inf).amax(-1)
    assert (dropped < kept.masked_fill(gates == 0, math.inf).amin(-1)).all()


def test_dense_gates_are_signed_and_use_every_expert() -> None:
    config = generator_config(gating="dense", experts=64)
    logits = torch.randn(TASKS, LAYERS, 1, 64, generator=torch.Generator().manual_seed(0))
    gates = gate(config, logits)
    assert (gates < 0).any()
    assert (gates > 0).any()
    assert (gates != 0).all()
    torch.testing.assert_close(gates, logits / 8)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("gating", ["topk_softmax", "dense"])
@pytest.mark.parametrize("groups", [1, 3])
def test_routers_follow_the_equations(norm: Norm, gating: Gating, groups: int) -> None:
    """R = Norm(f2(SiLU(f1(T)))), layer by layer, task by task, against the batched computation at inference."""
    config = generator_config(norm=norm, gating=gating, groups=groups)
    torch.manual_seed(0)
    routers = Routers(config, LAYERS, HIDDEN)
    with torch.no_grad():
        for parameter in routers.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for buffer in routers.buffers():
            if buffer.is_floating_point():
                buffer += torch.rand_like(buffer)
    routers.eval()
    gates = routers(states())
    assert gates.shape == (TASKS, LAYERS, groups, config.experts)
    assert gates.dtype == torch.float32
    outputs = groups * config.experts
    for task, layer in ((0, 0), (3, 1), (6, 2)):
        hidden = torch.nn.functional.silu(states()[task, layer] @ routers.f1_weight[layer] + routers.f1_bias[layer])
        r = hidden @ routers.f2_weight[layer] + routers.f2_bias[layer]
        if routers.batch_norm is not None:
            place, n = slice(layer * outputs, (layer + 1) * outputs), routers.batch_norm
            r = (r - n.running_mean[place]) / (n.running_var[place] + n.eps).sqrt() * n.weight[place] + n.bias[place]
        r = r.view(groups, config.experts)
        if routers.layer_norm is not None:
            centred = r - r.mean(-1, keepdim=True)
            scale = (centred.square().mean(-1, keepdim=True) + routers.layer_norm.eps).sqrt()
            r = centred / scale * routers.layer_norm.weight + routers.layer_norm.bias
        torch.testing.assert_close(gates[task, layer], gate(config, r), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_gates_at_inference_do_not_depend_on_the_batch(norm: Norm) -> None:
    torch.manual_seed(0)
    routers = Routers(generator_config(norm=norm), LAYERS, HIDDEN).eval()
    together = routers(states())
    torch.testing.assert_close(together[2:3], routers(states()[2:3]), rtol=1e-5, atol=1e-6)


def test_batch_norm_uses_the_batch_in_training_and_remembers_it() -> None:
    torch.manual_seed(0)
    routers = Routers(generator_config(norm="batch", gating="dense"), LAYERS, HIDDEN).train()
    assert routers.batch_norm is not None
    gates = routers(states()) * math.sqrt(5)
    torch.testing.assert_close(gates.mean(0), torch.zeros_like(gates[0]), rtol=0, atol=1e-5)
    assert (routers.batch_norm.running_mean != 0).all()


def test_routing_is_float32_whatever_the_cloud_model_computes_in() -> None:
    torch.manual_seed(0)
    routers = Routers(generator_config(norm="layer"), LAYERS, HIDDEN).eval()
    half = states().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        gates = routers(half)
    assert torch.equal(gates, routers(half.float()))


def test_balance_term_is_zero_when_every_expert_receives_the_same() -> None:
    one_hot = torch.eye(5)[:, None, None].expand(-1, LAYERS, 3, -1)
    assert balance_term(one_hot) == 0
    assert balance_term(torch.full((TASKS, LAYERS, 1, 5), 0.2)) == 0


def test_balance_term_of_one_favoured_expert() -> None:
    """One of n experts receives everything: (std / mean)^2 = n - 1, whatever the number of tasks."""
    gates = torch.zeros(TASKS, LAYERS, 3, 5)
    gates[..., 2] = 1
    assert balance_term(gates).item() == pytest.approx(4)
