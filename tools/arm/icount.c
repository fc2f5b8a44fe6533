/* A TCG plugin for qemu-aarch64 (plugin API version 1: qemu 7.2 to 8.x, dynamic build): what a region of the guest
   program executed, by kind (kinds.h). The guest ends a region with the system call getpgid(0x5aa500NN), NN the
   region's tag: one JSON line goes to the file named by QBENCH_COUNT_FILE, and counting starts again at 0. In Python:

       try: os.getpgid(0x5aa50001)
       except ProcessLookupError: pass      # no such process group: the call itself does nothing

   {"tag": 1, "pid": 4242, "threads": 1, "instructions": 1000, ...}

   Every mark opens, appends to and closes the file, so that a forked child can mark and leave by _exit, and a guest
   that closes all its descriptors takes nothing away. A child inherits what was counted: mark once before a region.

   The counters are plain memory shared by all threads: with more than one thread running at the same time, additions
   can be lost. `threads` is the most that were alive in the region; at 1, counts are exact. Counts are added as a
   translation block is entered, so a region holds whole blocks: a system call ends its block, marks cut cleanly.

   The declarations are those of the plugin API (docs/devel/tcg-plugins); no qemu header is needed to build this. */
#include "kinds.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define GETPGID 155 /* Linux, generic (aarch64) system call numbers */
#define MARK 0x5aa50000u
#define INLINE_ADD_U64 0

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned));
extern void qemu_plugin_register_vcpu_exit_cb(plugin_id, void (*)(plugin_id, unsigned));
extern void qemu_plugin_register_vcpu_syscall_cb(
  plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                      uint64_t, uint64_t));
EXPORT int qemu_plugin_version = 1;

static uint64_t counts[KINDS];
static char path[4096];
static pid_t process;           /* whose threads are counted: a forked child has one, whatever its parent had */
static int threads, most_threads;

static void notice_fork(void) {
  if (process == getpid()) return;
  process = getpid();
  threads = most_threads = 1;
}

static void thread_starts(plugin_id id, unsigned vcpu) {
  (void)id, (void)vcpu;
  notice_fork();
  int now = __atomic_add_fetch(&threads, 1, __ATOMIC_SEQ_CST);
  if (now > most_threads) most_threads = now;
}

static void thread_ends(plugin_id id, unsigned vcpu) {
  (void)id, (void)vcpu;
  notice_fork();
  __atomic_sub_fetch(&threads, 1, __ATOMIC_SEQ_CST);
}

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  uint64_t adds[KINDS] = {0};
  for (size_t i = 0, n = qemu_plugin_tb_n_insns(block); i < n; i++) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
    add_kinds(word, adds);
  }
  for (int kind = 0; kind < KINDS; kind++)
    if (adds[kind]) qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &counts[kind], adds[kind]);
}

static void end_region(unsigned tag) {
  char line[1024];
  int length = snprintf(line, sizeof line, "{\"tag\": %u, \"pid\": %d, \"threads\": %d", tag, (int)process, most_threads);
  for (int kind = 0; kind < KINDS; kind++)
    length += snprintf(line + length, sizeof line - length, ", \"%s\": %llu", kind_names[kind],
                       (unsigned long long)counts[kind]);
  length += snprintf(line + length, sizeof line - length, "}\n");
  int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  if (file < 0 || write(file, line, length) != length) {
    fprintf(stderr, "icount: cannot write %s\n", path);
    _exit(125); /* a lost line would be read as a region that was never measured */
  }
  close(file);
  memset(counts, 0, sizeof counts);
  most_threads = threads;
}

static void system_call(plugin_id id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                        uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)vcpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != GETPGID || ((uint32_t)a1 & 0xffffff00u) != MARK) return;
  notice_fork();
  end_region(a1 & 0xff);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
  (void)info, (void)argc, (void)argv;
  const char *name = getenv("QBENCH_COUNT_FILE");
  if (!name || name[0] != '/' || strlen(name) >= sizeof path) {
    fprintf(stderr, "icount: QBENCH_COUNT_FILE must name a file by its absolute path\n");
    return 1;
  }
  strcpy(path, name);
  process = getpid();
  qemu_plugin_register_vcpu_init_cb(id, thread_starts);
  qemu_plugin_register_vcpu_exit_cb(id, thread_ends);
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, system_call);
  return 0;
}
