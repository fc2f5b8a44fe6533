/* Which kinds an A64 instruction counts for, and how many multiply-accumulates it does.
   Source: Arm Architecture Reference Manual for A-profile (DDI 0487), C4.1 "A64 instruction set encoding"; the name of
   the encoding group stands above each block. Q is bit 30 (0: 64-bit vector, 1: 128-bit), U bit 29, size bits 23:22,
   L:M:H and Rm the index of a "by element" form. A bit that is 0 in the mask may be anything.

   Not told apart, because none of the CPUs offered here has them: SVE, SME, BFloat16 and FMLAL (they count as plain
   instructions). FMUL and integer MUL start no sum and are no multiply-accumulate here. */
#include <stdint.h>

enum kind {
  INSTRUCTIONS, LOAD_STORE, SIMD_LOAD_STORE, SIMD_FP, FMA_VECTOR, FMA_SCALAR, DOT, MMLA, WIDENING, MLA,
  MACS_FP32, MACS_FP16, MACS_INT8, MACS_INT16, KINDS
};

static const char *const kind_names[KINDS] = {
  "instructions", "load_store", "simd_load_store", "simd_fp", "fma_vector", "fma_scalar", "dot", "mmla", "widening",
  "mla", "macs_fp32", "macs_fp16", "macs_int8", "macs_int16"
};

struct pattern {
  uint32_t mask, value;
  enum kind kind, macs;  /* macs INSTRUCTIONS: multiply-accumulates of a type that is not counted (64-bit) */
  unsigned lanes[2];     /* multiply-accumulates with Q = 0 and with Q = 1 */
};

static const struct pattern patterns[] = {
  /* Advanced SIMD three same: FMLA (bit 23 = 0) and FMLS (1), .2S/.4S with sz = 0, .2D with sz = 1 */
  {0xBF60FC00, 0x0E20CC00, FMA_VECTOR, MACS_FP32, {2, 4}},
  {0xBF60FC00, 0x0E60CC00, FMA_VECTOR, INSTRUCTIONS, {0, 0}},
  /* Advanced SIMD three same (FP16): FMLA, FMLS, .4H/.8H */
  {0xBF60FC00, 0x0E400C00, FMA_VECTOR, MACS_FP16, {4, 8}},
  /* Advanced SIMD vector x indexed element: FMLA (bit 14 = 0) and FMLS (1); .2S/.4S, .2D, .4H/.8H */
  {0xBFC0B400, 0x0F801000, FMA_VECTOR, MACS_FP32, {2, 4}},
  {0xBFC0B400, 0x0FC01000, FMA_VECTOR, INSTRUCTIONS, {0, 0}},
  {0xBFC0B400, 0x0F001000, FMA_VECTOR, MACS_FP16, {4, 8}},
  /* Advanced SIMD scalar x indexed element: FMLA, FMLS; S, D, H */
  {0xFFC0B400, 0x5F801000, FMA_SCALAR, MACS_FP32, {1, 1}},
  {0xFFC0B400, 0x5FC01000, FMA_SCALAR, INSTRUCTIONS, {0, 0}},
  {0xFFC0B400, 0x5F001000, FMA_SCALAR, MACS_FP16, {1, 1}},
  /* Floating-point data-processing (3 source): FMADD, FMSUB, FNMADD, FNMSUB; ptype 00 S, 01 D, 11 H */
  {0xFFC00000, 0x1F000000, FMA_SCALAR, MACS_FP32, {1, 1}},
  {0xFFC00000, 0x1F400000, FMA_SCALAR, INSTRUCTIONS, {0, 0}},
  {0xFFC00000, 0x1FC00000, FMA_SCALAR, MACS_FP16, {1, 1}},
  /* Advanced SIMD three-register extension, size = 10: SDOT (U = 0), UDOT (U = 1); USDOT */
  {0x9FE0FC00, 0x0E809400, DOT, MACS_INT8, {8, 16}},
  {0xBFE0FC00, 0x0E809C00, DOT, MACS_INT8, {8, 16}},
  /* Advanced SIMD vector x indexed element: SDOT, UDOT (size = 10); USDOT (size = 10), SUDOT (size = 00) */
  {0x9FC0F400, 0x0F80E000, DOT, MACS_INT8, {8, 16}},
  {0xBFC0F400, 0x0F80F000, DOT, MACS_INT8, {8, 16}},
  {0xBFC0F400, 0x0F00F000, DOT, MACS_INT8, {8, 16}},
  /* Advanced SIMD three-register extension, size = 10, Q = 1: SMMLA (U = 0), UMMLA (U = 1); USMMLA: 2x8 by 8x2 */
  {0xDFE0FC00, 0x4E80A400, MMLA, MACS_INT8, {0, 32}},
  {0xFFE0FC00, 0x4E80AC00, MMLA, MACS_INT8, {0, 32}},
  /* Advanced SIMD three different, opcode 1000 SMLAL/UMLAL, 1010 SMLSL/UMLSL, 1100 SMULL/UMULL (and the ...2 forms):
     size 00 takes 8-bit operands, 01 16-bit, 10 32-bit; eight, four or two products whatever Q is */
  {0x9FE0DC00, 0x0E208000, WIDENING, MACS_INT8, {8, 8}},
  {0x9FE0FC00, 0x0E20C000, WIDENING, MACS_INT8, {8, 8}},
  {0x9FE0DC00, 0x0E608000, WIDENING, MACS_INT16, {4, 4}},
  {0x9FE0FC00, 0x0E60C000, WIDENING, MACS_INT16, {4, 4}},
  {0x9FE0DC00, 0x0EA08000, WIDENING, INSTRUCTIONS, {0, 0}},
  {0x9FE0FC00, 0x0EA0C000, WIDENING, INSTRUCTIONS, {0, 0}},
  /* Advanced SIMD vector x indexed element, opcode 0010 SMLAL/UMLAL, 0110 SMLSL/UMLSL, 1010 SMULL/UMULL: size 01, 10 */
  {0x9FC0B400, 0x0F402000, WIDENING, MACS_INT16, {4, 4}},
  {0x9FC0F400, 0x0F40A000, WIDENING, MACS_INT16, {4, 4}},
  {0x9FC0B400, 0x0F802000, WIDENING, INSTRUCTIONS, {0, 0}},
  {0x9FC0F400, 0x0F80A000, WIDENING, INSTRUCTIONS, {0, 0}},
  /* Advanced SIMD three same: MLA (U = 0), MLS (U = 1), size 00, 01, 10 */
  {0x9FE0FC00, 0x0E209400, MLA, MACS_INT8, {8, 16}},
  {0x9FE0FC00, 0x0E609400, MLA, MACS_INT16, {4, 8}},
  {0x9FE0FC00, 0x0EA09400, MLA, INSTRUCTIONS, {0, 0}},
  /* Advanced SIMD vector x indexed element, U = 1: MLA (bit 14 = 0), MLS (1), size 01, 10 */
  {0xBFC0B400, 0x2F400000, MLA, MACS_INT16, {4, 8}},
  {0xBFC0B400, 0x2F800000, MLA, INSTRUCTIONS, {0, 0}},
};

/* Add to `counts` what one execution of `word` counts for. */
static void add_kinds(uint32_t word, uint64_t counts[KINDS]) {
  counts[INSTRUCTIONS]++;
  if ((word & 0x0A000000) == 0x08000000) { /* Loads and stores: bits 28:25 = x1x0; bit 26 is V, a SIMD&FP register */
    counts[LOAD_STORE]++;
    counts[SIMD_LOAD_STORE] += word >> 26 & 1;
    return;
  }
  if ((word & 0x0E000000) != 0x0E000000) return;
  counts[SIMD_FP]++; /* Data processing - scalar floating-point and Advanced SIMD: bits 28:25 = x111 */
  for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) {
    const struct pattern *p = &patterns[i];
    if ((word & p->mask) != p->value) continue;
    counts[p->kind]++;
    if (p->macs != INSTRUCTIONS) counts[p->macs] += p->lanes[word >> 30 & 1];
    return;
  }
}
