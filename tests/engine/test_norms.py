import torch
import torch.nn.functional as F

from longlive_env.engine.norms import RMSNorm


def test_value_and_gradients_are_those_of_pytorch() -> None:
    norm = RMSNorm(12, 1e-6)
    norm.weight.data.uniform_(0.5, 2.0)
    ours, theirs = (torch.linspace(-2, 3, 60).view(5, 12).requires_grad_() for _ in range(2))
    weight = norm.weight.detach().clone().requires_grad_()
    out, want = norm(ours), F.rms_norm(theirs, (12,), weight, 1e-6)
    grad = torch.randn_like(out)
    out.backward(grad)
    want.backward(grad)
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(norm.weight.grad, weight.grad)


def test_without_gradients_the_numbers_are_the_same() -> None:
    norm, x = RMSNorm(12, 1e-6), torch.randn(3, 12)
    with torch.no_grad():
        assert torch.equal(norm(x), norm(x.clone().requires_grad_()))
