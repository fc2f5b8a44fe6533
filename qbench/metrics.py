"""The catalogue of metrics. A metric owns its unit, its direction, its meaning and how it is stored."""

from dataclasses import dataclass
from typing import Literal

ACCURACY_LIMIT = -0.01  # accuracy may fall by one percentage point; every page states it
HALF_NOISE_DB = 3.0  # at 3 dB half of the power is noise: what stands lower above it is destroyed


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number is, wherever it is shown."""

    name: str
    unit: Literal["s", "B", "J", "nat", "dB", "1", "1/s", "Hz", "°C", "W"]
    better: Literal["lower", "higher", "neither"]
    means: str  # the sentence printed under every table that shows it
    stored: Literal["plain", "ns", "bits", "counts", "f32"] = "plain"
    needs_native: bool = False  # True: says nothing where integers are only simulated
    short: str = ""  # the column's head, where the name is too long for one


CATALOGUE = {
    m.name: m
    for m in (
        # score
        Metric("correct", "1", "higher", "Per sample: was the first answer right?", "bits", short="accuracy"),
        Metric("prediction", "1", "neither", "Per sample: the first answer, as a class number.", "counts"),
        Metric(
            "kl_divergence",
            "nat",
            "lower",
            "Per sample: Kullback-Leibler divergence of the answer's distribution from the float model's, "
            "on the same engine.",
            "f32",
            short="KL",
        ),
        Metric(
            "sqnr",
            "dB",
            "higher",
            "Signal to quantization noise: power of the float outputs over the power of the difference.",
            short="SQNR",
        ),
        # one output, or a part of it, beside float's on the same engine (qbench.quality)
        Metric(
            "sqnr_varying",
            "dB",
            "higher",
            "The same of what varies: the variance of float's channels over the power of the difference.",
        ),
        Metric(
            "sqnr_worst_channel", "dB", "higher", "The same of the channel in which the least of it is left."
        ),
        Metric(
            "dead_channels",
            "1",
            "lower",
            "Share of the channels that move from example to example in float, and stand still here; of "
            "scores from 0 to 1 among those that float is confident in.",
        ),
        Metric(
            "cosine",
            "1",
            "higher",
            "Cosine of the angle between float's values and these: of each example where the output is an "
            "embedding, else one of all values.",
            "f32",
            short="cosine",
        ),
        Metric(
            "comparable",
            "1",
            "higher",
            "Per example: is the output of float's shape, and all of it numbers?",
            "bits",
            short="comparable",
        ),
        Metric(
            "same_first",
            "1",
            "higher",
            "Per example: the same first answer as float?",
            "bits",
            short="agreement",
        ),
        Metric(
            "same_positions",
            "1",
            "higher",
            "Per example: share of positions (pixels, tokens, frames) with the same first answer as float.",
            "f32",
            short="agreement",
        ),
        Metric(
            "same_labels",
            "1",
            "higher",
            "Per example: share of its labels that are those of float.",
            "f32",
            short="agreement",
        ),
        Metric(
            "same_text",
            "1",
            "higher",
            "Per example: exactly the text that float reads (CTC, greedy)?",
            "bits",
            short="exact text",
        ),
        Metric(
            "text_similarity",
            "1",
            "higher",
            "Per example: one minus the edit distance to float's text over the longer one's length.",
            "f32",
        ),
        Metric(
            "same_nearest",
            "1",
            "higher",
            "Per example: the same nearest neighbour among the other examples as in float?",
            "bits",
            short="same neighbour",
        ),
        Metric(
            "map_overlap",
            "1",
            "higher",
            "Per example: intersection over union of what float's map marks and what this one marks.",
            "f32",
            short="overlap",
        ),
        Metric(
            "confident_overlap",
            "1",
            "higher",
            "Per example: intersection over union of float's confident answers and the confident ones here. "
            "One that crosses the threshold by moving less than a tenth of it is the same.",
            "f32",
            short="overlap",
        ),
        Metric(
            "confident_kept",
            "1",
            "higher",
            "Per example: share of float's confident answers that are confident here as well.",
            "f32",
        ),
        Metric(
            "confidence_moved",
            "1",
            "lower",
            "Per example: how far the confidences of float's confident answers have moved, on average.",
            "f32",
        ),
        Metric(
            "range_error",
            "1",
            "lower",
            "Per example: mean difference to float's values, over the range of float's values.",
            "f32",
            short="error / range",
        ),
        Metric(
            "reference_error",
            "1",
            "lower",
            "Largest difference to the outputs that the float source model gave, over their range.",
        ),
        Metric(
            "simulated_error",
            "1",
            "lower",
            "Largest difference to the outputs of the same numbers with simulated integers, over their "
            "range: the gap between a simulation and what is deployed.",
        ),
        Metric(
            "escalated",
            "1",
            "lower",
            "Per sample: was the first network unsure, so that the second one answered?",
            "bits",
        ),
        # proof
        Metric("covered_weights", "B", "lower", "Bytes that the weights covered by the technique take now."),
        Metric("covered_float", "B", "neither", "Bytes that the same weights took in 32-bit float."),
        Metric("model_float", "B", "neither", "Bytes that all weights of the network took in 32-bit float."),
        Metric("covered_macs", "1", "higher", "Multiply-accumulates of one inference over covered weights."),
        Metric(
            "layer_snr",
            "dB",
            "higher",
            "Layer by layer: the output's power in float over that of its error in the quantized network.",
        ),
        Metric(
            "selection_correct",
            "1",
            "neither",
            "Per selection example: was the quantized network right, by label or by what float answers?",
            "bits",
        ),
        Metric(
            "layer_correct",
            "1",
            "neither",
            "Layer by layer, per selection example: was it right with this layer alone back in float?",
            "bits",
        ),
        Metric("model_macs", "1", "neither", "Multiply-accumulates of one inference, all layers."),
        Metric(
            "moved_activations",
            "1",
            "neither",
            "Activations that the layers with weights read and write in one inference.",
        ),
        Metric(
            "low_bit_kernels",
            "1",
            "higher",
            "Multiply-accumulate kernels that ran in the technique's own format, counted in the engine.",
        ),
        Metric("other_kernels", "1", "lower", "Multiply-accumulate kernels that ran in 32-bit float."),
        # size and cost
        Metric(
            "file_size",
            "B",
            "lower",
            "Everything needed to run: graph, weights, external data.",
            short="size",
        ),
        Metric("compressed_size", "B", "lower", "The same files, compressed (zlib, level 6)."),
        Metric("prepare_time", "s", "lower", "Time to make the file from the source model, all hops.", "ns"),
        Metric("quantize_time", "s", "lower", "The part of it that the technique itself took.", "ns"),
        Metric(
            "prepare_memory",
            "B",
            "lower",
            "Peak resident memory while the technique ran; of a float file, while it was converted.",
        ),
        # deployment
        Metric(
            "load_time", "s", "lower", "From file to a session that can answer.", "ns", True, short="load"
        ),
        Metric("first_inference", "s", "lower", "The first call, cold.", "ns", True, short="first call"),
        Metric(
            "preprocess_time",
            "s",
            "lower",
            "From a batch's raw bytes to the network's tensors, in numpy on one thread.",
            "ns",
            True,
            short="before",
        ),
        Metric(
            "postprocess_time",
            "s",
            "lower",
            "From a batch's outputs to its answers.",
            "ns",
            True,
            short="after",
        ),
        Metric(
            "peak_memory",
            "B",
            "lower",
            "Peak resident memory of a process that imported only its engine, loaded the file and answered.",
            needs_native=True,
            short="peak memory",
        ),
        Metric(
            "load_memory",
            "B",
            "lower",
            "Peak resident memory of the same process when the file was loaded, before the first call.",
            needs_native=True,
        ),
        Metric(
            "device_memory",
            "B",
            "lower",
            "Peak of the engine's own allocator on the device.",
            needs_native=True,
        ),
        Metric("engine_memory", "B", "neither", "The same process, after importing its engine alone."),
        # timing
        Metric("latency", "s", "lower", "One call with one batch, one stream.", "ns", True),
        Metric(
            "throughput",
            "1/s",
            "higher",
            "Examples per second while all streams call without a pause.",
            needs_native=True,
        ),
        Metric(
            "energy",
            "J",
            "lower",
            "Energy of one example, all that the meter's domain took while calls followed each other.",
            needs_native=True,
        ),
        Metric("energy_net", "J", "lower", "The same without what the device takes when idle."),
        Metric("power", "W", "lower", "Mean power while calls followed each other."),
        Metric("idle_power", "W", "neither", "Mean power with the model loaded and nothing running."),
        Metric("anchor", "s", "lower", "A fixed kernel that no code under test can change.", "ns"),
        # on a device that is emulated
        Metric(
            "instructions",
            "1",
            "lower",
            "Instructions of one call with one batch, one thread, counted in the emulator: a cost and a "
            "proof of kernel, never a latency, for it has no cache, no pipeline and no clock.",
        ),
        Metric("instructions_load_store", "1", "lower", "Of these instructions: loads and stores."),
        Metric("instructions_simd", "1", "neither", "Of these instructions: vectors and floating point."),
        Metric("instructions_fmla", "1", "neither", "Of these instructions: float vector multiply-adds."),
        Metric("instructions_dot", "1", "neither", "Of these instructions: four-way integer dot products."),
        Metric("instructions_mmla", "1", "neither", "Of these instructions: integer matrix products."),
        Metric(
            "instructions_widening",
            "1",
            "neither",
            "Of these instructions: widening integer vector products.",
        ),
        Metric(
            "native_agreement",
            "1",
            "higher",
            "Per sample: the same first answer as this file gives on the processor of the host?",
            "bits",
        ),
        Metric(
            "native_difference",
            "1",
            "lower",
            "Largest difference to the outputs of this file on the processor of the host, over their range.",
        ),
        # witnesses of a noisy minute
        Metric(
            "involuntary_switches",
            "1",
            "lower",
            "Times the kernel took the processor away during the window.",
        ),
        Metric("steal", "s", "lower", "Processor time that the hypervisor gave to others during the window."),
        Metric(
            "processor_wait",
            "s",
            "lower",
            "Time that the process's threads were ready to run and had no processor, added up.",
        ),
        Metric("watched", "s", "neither", "How long the witnesses looked: the warm-up and the window."),
        Metric("cpu_frequency", "Hz", "neither", "Mean frequency of the cores, before and after the window."),
        Metric(
            "temperature", "°C", "neither", "The processor's hottest sensor, before and after the window."
        ),
        Metric("load_average", "1", "lower", "Load average over one minute when the window ended."),
    )
}
