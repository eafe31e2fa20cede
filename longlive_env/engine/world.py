"""A world: the models, weights and configuration that rollouts start from.

Shapes: B worlds, L text tokens.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from longlive_env.engine import kernel_files, snapshot, world_files, world_places
from longlive_env.engine.codec import Codec, put_channels_last
from longlive_env.engine.compile import compile_world, keep_compiled_in
from longlive_env.engine.config import (
    CodecKind,
    CompileMode,
    KvPrecision,
    Positions,
    Precision,
    WorldConfig,
    check_choice,
)
from longlive_env.engine.identity import weights_digest
from longlive_env.engine.load_options import LoadOptions, as_asked, checked_config, default_memory, dtype_of
from longlive_env.engine.merge import merge_projections
from longlive_env.engine.noise import NoiseSource, WorldNoise
from longlive_env.engine.offload import is_offloaded
from longlive_env.engine.prefill import Clip, given_clips, prefill
from longlive_env.engine.published import is_published
from longlive_env.engine.quantize import quantize
from longlive_env.engine.rollout import Rollout
from longlive_env.engine.seeds import world_seeds
from longlive_env.engine.state import RolloutState
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.text_encoding import KEPT_IN_MEMORY, TextEncoding
from longlive_env.engine.tokenizer import prompt_list
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import ConfigError, PromptError

if TYPE_CHECKING:
    from longlive_env.engine.completion import Completion
    from longlive_env.engine.memory import MemoryLimit, MemoryPlan
    from longlive_env.engine.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


class World:
    """Models, weights and configuration; stateless apart from a cache of recent prompt embeddings.

    `start` begins a `Rollout`, which holds the state and generates frames::

        world = World.load("tiny")
        rollout = world.start("a red robot walks right through the city at night", seed=7)
        frames = rollout.step()  # uint8 [1, 9, 192, 320, 3]; later blocks have 12 frames

    Worlds are shared, never copied: `copy.copy` and `copy.deepcopy` return the same object, because
    Gymnasium copies an env's arguments whenever its spec is read. To change weights independently, copy
    `transformer` or `codec`. Neither a world nor anything that holds one can be pickled: each process loads
    its own.

    Args:
        config: the world's configuration.
        transformer: model that predicts the flow.
        codec: model that turns latents into pixels.
        text_encoder: the model, or a `TextEncoding` that loads it on demand; None if every prompt comes with
            its embedding.
        tokenizer: the text encoder's tokenizer.
        completion: how rollouts complete prompts of a few words; None takes them as they are.
    """

    def __init__(
        self,
        config: WorldConfig,
        transformer: CausalWanTransformer,
        codec: Codec,
        text_encoder: UMT5Encoder | TextEncoding | None = None,
        tokenizer: Tokenizer | None = None,
        completion: Completion | None = None,
    ) -> None:
        self.config = config
        self.transformer = transformer
        self.codec = codec
        self.text_encoding = (
            text_encoder if isinstance(text_encoder, TextEncoding) else TextEncoding(text_encoder)
        )
        self.tokenizer = tokenizer
        self.completion = completion
        self.memory_plan: MemoryPlan | None = None  # how `load` made the world fit, if asked to
        self.source = config.name  # or what `load` was given
        self.options: dict[str, str] = {}  # of `load`, to repeat it: as given, or as `memory` decided
        self.compiled: CompileMode = "off"

    def __copy__(self) -> World:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> World:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(  # the type and opening words of Python's own refusal
            f"cannot pickle 'World' object {self.config.name!r}: a world is shared, not copied; let each "
            'process load it by its name (world="tiny", or its folder), and for states pass on the bytes of '
            "clone_state() of an env, or snapshot() of a rollout"
        )

    @classmethod
    def load(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        codec: CodecKind | None = None,
        precision: Precision | None = None,
        kv_precision: KvPrecision | None = None,
        memory: MemoryLimit | None = None,
        batch: int = 1,
        states: int = 1,
        compile: CompileMode = "off",
        merge: bool | None = None,
        steps: int | None = None,
        rope: Positions | None = None,
    ) -> World:
        """Load a world.

        Args:
            name_or_path: name of a preset ("tiny", "1.3b"), or a folder, either written by `save` or holding
                the published repositories.
            device: device the models run on.
            dtype: type of the weights; by default float32 on a CPU and bfloat16 elsewhere.
            codec: "light" decodes faster. For a published world it is a different, softer codec (the default
                is "wan"); for the tiny world it skips the detail part of the decoder, so frames are half as
                large.
            precision: "bf16" uses that type throughout; "fp8", "int8" and "int8-weight-only" quantize the
                transformer's linear layers to 8 bits, see `quantize`; None leaves them in `dtype`.
            kv_precision: "fp8" stores the keys and values of self-attention in 8 bits; None stores them in
                `dtype`.
            memory: device memory in GiB that the world must fit in, or "auto" for all that is free, which is
                the default of published worlds on a GPU. It determines where the text encoder goes and,
                unless given, `codec` and `kv_precision`; see `memory.plan`. The prediction assumes
                unquantized weights, so an 8-bit precision uses less than predicted.
            batch: number of running worlds that `memory` must hold.
            states: number of their states that `memory` must hold at once: 1, plus one for each fork kept
                beside the running worlds.
            compile: "off", "default", "graphs" or "max", see `compile_world`. Code is compiled when it first
                runs; `warm_up` compiles all of it in advance.
            merge: whether self-attention computes its projections in one product, see `merge_projections`; by
                default it does on CUDA, unless weights stay on the host.
            steps: denoising steps per block, evenly spaced; None takes the number that the weights were made
                for (2 for the tiny world, 4 for 1.3B). Fewer are faster; docs/performance.md says what they
                cost in quality.
            rope: positions in time. "absolute" ones run out, for the 1.3B world after 341 blocks (4 minutes
                16 seconds); "relative" ones never do, but need a second copy of the sink's keys (0.4 GiB per
                1.3B world in bfloat16). None takes those of the world's configuration.

        Raises:
            ConfigError: there is no such preset or folder, an option has an unknown value, `dtype` and
                `precision` contradict each other, the world does not fit in `memory`, or that number of steps
                is impossible.
            WeightsError: weights are missing, incomplete or of the wrong shape.
            BackendError: the device cannot be used, or not in this precision or mode.
            MissingExtraError: the precision needs torchao, which is not installed.
        """
        memory = default_memory(name_or_path, device) if memory is None else memory
        asked: LoadOptions = {
            "codec": codec,
            "precision": precision,
            "kv_precision": kv_precision,
            "memory": memory,
            "compile": compile,
            "steps": steps,
            "rope": rope,
        }
        dtype = dtype_of(dtype, precision)
        config = checked_config(name_or_path, device=device, dtype=dtype, **asked)
        plan = None
        if memory is not None:
            from longlive_env.engine.memory import arrange  # it imports this module, to run on meta tensors

            plan = arrange(
                config,
                memory,
                device=device,
                dtype=dtype,
                codec=codec,
                precision=precision,
                kv_precision=kv_precision,
                batch=batch,
                states=states,
                compile=compile,
                merge=merge,
                own_codec=not is_published(world_places.find(name_or_path)),
            )
            codec, kv_precision = plan.codec or codec, plan.kv_precision
        placement, offloaded = (plan.text_encoder, plan.offload) if plan else ("resident", False)
        parts = world_files.load(name_or_path, device, dtype, codec, placement, offloaded)
        world = cls(*parts._replace(config=as_asked(parts.config, asked)))
        world.memory_plan, world.source = plan, os.fspath(name_or_path)
        world.optimize(precision=precision, kv_precision=kv_precision, merge=merge)
        world.compile(compile)
        settled: LoadOptions = {**asked, "codec": codec, "kv_precision": kv_precision}
        world.options = {name: str(value) for name, value in settled.items() if value not in (None, "off")}
        return world

    @classmethod
    def from_config(
        cls,
        config: WorldConfig,
        seed: int = 0,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        text_encoder: bool = True,
    ) -> World:
        """Make a world with random weights, determined by the seed, for tests and benchmarks.

        Args:
            config: the world's configuration.
            seed: seed of the weights.
            device: device the models run on.
            dtype: type of the weights; float32 by default.
            text_encoder: whether to make one; it can be far larger than the rest, and is not needed if
                prompts come with their embeddings.
        """
        return cls(*world_files.initialise(config, seed, device, dtype, text_encoder))

    def replaced(
        self,
        *,
        config: WorldConfig | None = None,
        transformer: CausalWanTransformer | None = None,
        codec: Codec | None = None,
    ) -> World:
        """A world with the given parts, which shares all others with this one."""
        return World(
            self.config if config is None else config,
            self.transformer if transformer is None else transformer,
            self.codec if codec is None else codec,
            self.text_encoding,
            self.tokenizer,
            self.completion,
        )

    def save(
        self, folder: str | os.PathLike[str], dtype: torch.dtype | None = None, packed: bool = False
    ) -> None:
        """Write a folder that `load` reads; for `dtype` and `packed` see `world_files.save`."""
        world_files.save(self, folder, dtype, packed)

    def optimize(
        self,
        *,
        precision: Precision | None = None,
        kv_precision: KvPrecision | None = None,
        merge: bool | None = None,
    ) -> None:
        """Adapt the models to their device, in place, before they are compiled; `load` does this.

        From then on, this process chooses kernels by the table measured on the device, if there is one (see
        `kernel_files`). On CUDA, the codec's convolutions get a channels-last layout, and self-attention
        computes its projections in one product. For arguments and errors see `load`; None leaves the choice
        to this function.
        """
        check_choice("kv_precision", kv_precision, KvPrecision)
        on_cuda = self.device.type == "cuda"
        kernel_files.use_kept_table(self.device)
        if on_cuda:
            put_channels_last(self.codec)
        if merge or (merge is None and on_cuda and not is_offloaded(self.transformer)):
            merge_projections(self.transformer)
        if precision is not None and precision != "bf16":
            quantize(self.transformer, precision)
        self.transformer.kv_dtype = torch.float8_e4m3fn if kv_precision else None

    def compile(self, mode: CompileMode) -> None:
        """Make the models run compiled, in place; see `compile_world` for modes and errors.

        Compiled code is cached on disk under `worlds_home`, unless TORCHINDUCTOR_CACHE_DIR names another
        folder.
        """
        if mode != "off" and (kept := world_places.writable(world_places.worlds_home() / "compiled")):
            keep_compiled_in(kept)
        compile_world(self.transformer, self.codec, mode)
        self.compiled = mode

    @property
    def device(self) -> torch.device:
        """Device the transformer runs on."""
        return self.transformer.patch_embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type the transformer computes in."""
        return self.transformer.patch_embedding.weight.dtype

    @property
    def text_encoder(self) -> UMT5Encoder | None:
        """The text encoder, loaded on access; `text_encoding.present` says whether there is one."""
        return self.text_encoding.model

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of a prompt that mean nothing to the world."""
        found = self.tokenizer.unknown_words(prompt) if self.tokenizer else []
        if self.completion is None or not self.completion.completes(prompt):
            return found
        return [word for word in found if not self.completion.knows(word)]

    def completed(self, prompt: str, before: str = "") -> str:
        """The whole prompt that a prompt stands for, after the whole prompt `before`; see `Completion`."""
        return self.completion.complete(prompt, before) if self.completion else prompt

    def check_prompt_length(self, prompt: str) -> None:
        """Check that what a prompt stands for fits the token limit; the published code drops the excess.

        Raises:
            PromptError: it has too many tokens.
        """
        if self.tokenizer is not None:
            self.tokenizer.check_length(
                self.completed(prompt), self.config.transformer.text_len, self.config.name
            )

    def encode_prompt(self, prompts: Sequence[str]) -> Tensor:
        """Encode prompts one by one, as they are: embeddings ``[B, L, text_dim]``, zero beyond each prompt.

        Raises:
            ConfigError: the world has no text encoder.
            PromptError: a prompt has too many tokens.
        """
        if not self.text_encoding.present or self.tokenizer is None:
            raise ConfigError("this world has no text encoder; pass the prompt's embedding as text=")
        length = self.config.transformer.text_len
        for prompt in prompts:
            self.tokenizer.check_length(prompt, length, self.config.name)
        return self.text_encoding.embed(self.tokenizer, prompts, length, self.device, self.dtype)

    def encode_ahead(self, prompts: Iterable[str]) -> None:
        """Encode prompts that will be needed, if the text encoder is loaded anew for each that is new.

        So it is loaded once for all of them, and not while a video is playing. Otherwise this does nothing:
        prompts are encoded when they are needed.

        Args:
            prompts: prompts in the order in which they are needed; only as many count as embeddings are kept.

        Raises:
            PromptError: a prompt has too many tokens.
        """
        if not self.text_encoding.freed:
            return
        whole, needed = "", dict[str, None]()
        for prompt in prompts:
            whole = self.completed(prompt, whole)
            needed[whole] = None
        if needed:
            self.encode_prompt(list(needed)[:KEPT_IN_MEMORY])

    def start(
        self,
        prompt: str | Sequence[str],
        seed: int | Iterable[int] = 0,
        *,
        text: Tensor | None = None,
        whole: Sequence[str] | None = None,
        noise: NoiseSource | None = None,
        frames: Clip | Sequence[Clip | None] | None = None,
    ) -> Rollout:
        """Start one world, or a batch of them.

        Args:
            prompt: one prompt, or one for each world of a batch.
            seed: seed of the noise, one for each world; a single one means `seed`, `seed + 1`, ... for the
                worlds of a batch.
            text: embeddings to use instead of encoding the prompts, ``[B, L, text_dim]``.
            whole: with `text`, what it stands for in words, see `Rollout.switch_prompt`.
            noise: source to use instead of seeded noise, such as a recording.
            frames: uint8 frames to continue from: a picture ``[H, W, 3]`` or a clip ``[T, H, W, 3]`` for all
                worlds, clips ``[B, T, H, W, 3]``, or a sequence with a picture, a clip or None for each.
                Only the newest whole blocks of a clip are used (9, 21, 33 or 45 frames); a clip shorter than
                9 frames is preceded by repeats of its first frame. These frames count as part of the video,
                but `step` does not return them.

        Raises:
            PromptError: there is no prompt, or one is not text or has too many tokens.
            ConfigError: the numbers of prompts, seeds or clips differ, a seed is invalid, or the frames have
                the wrong size.
        """
        prompts = prompt_list(prompt)
        if not prompts:
            raise PromptError("no prompt was given; pass at least one to start a world")
        seeds = world_seeds(seed, len(prompts))
        state = RolloutState(self.config, self.transformer, noise or WorldNoise(seeds), len(prompts))
        rollout = Rollout(self, state)
        clips = given_clips(frames, len(prompts), self.config)
        rollout.switch_prompt(prompts, recache="none", text=text, whole=whole)
        for world, clip in enumerate(clips):
            if clip is not None:
                prefill(self.codec, self.transformer, state, world, clip)
        return rollout

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the transformer's and the codec's weights, see `weights_digest`.

        Snapshots, recordings and datasets hold it, because seeds mean other frames under other weights.
        """
        return weights_digest(self.transformer, self.codec)

    def resume(self, data: bytes | snapshot.Kept, rollout: Rollout | None = None) -> Rollout:
        """Return a rollout in the state that `Rollout.snapshot` or `Rollout.keep` saved.

        A warning is logged if it was saved in a world with other weights.

        Args:
            data: the snapshot.
            rollout: rollout of this world that is no longer needed as it is. If it has as many worlds, it is
                the one that goes on, in place: no second state is allocated, and captured steps are kept.

        Raises:
            SnapshotError: the snapshot is damaged, of another version, or of another world; `rollout` is
                unchanged then. If anything else fails, such as an allocation, `rollout` cannot go on.
        """
        into = None if rollout is None else rollout.state
        kept = data if isinstance(data, snapshot.Kept) else snapshot.from_bytes(data)
        state, weights = snapshot.resumed(kept, self.config, self.transformer, into=into)
        if weights != self.fingerprint:
            logger.warning(
                "the snapshot was taken under other weights (%s, here %s): it goes on, but not as it would "
                "have there",
                weights,
                self.fingerprint,
            )
        if rollout is None or state is not into:
            return Rollout(self, state)
        rollout.forget_timing()
        return rollout
