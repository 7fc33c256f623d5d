// The threads of a forward pass: they meet at barriers and share out work by a counter.
//
// A thread that waits spins for some ten microseconds, then sleeps: pure spinning collapses as soon as
// something else wants the core, and sleeping at once costs more than most waits take.
#pragma once
#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

class Team {
  public:
    explicit Team(int threads) : size(threads) {
        for (int i = 1; i < threads; i++) others.emplace_back([this, i] { serve(i); });
    }

    ~Team() {
        job = nullptr;
        barrier();
        for (auto& thread : others) thread.join();
    }

    // Runs `work(thread)` on every thread, the caller's own among them; returns when all are done.
    void run(const std::function<void(int)>& work) {
        job = &work;
        barrier();
        work(0);
        barrier();
    }

    // Within a job: until every thread is here. What was written before is seen by all after it.
    void barrier() {
        uint32_t turn = turns.load(std::memory_order_relaxed);
        if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 < size) return await(turn);
        arrived.store(0, std::memory_order_relaxed);
        next.store(0, std::memory_order_relaxed);
        turns.store(turn + 1, std::memory_order_release);
        turns.notify_all();
    }

    // Within a job: hands out 0..count-1, then meets at a barrier. `work(at, after)` is told what its
    // thread does next, or `at` again. Runs are long at first, since what lies side by side is read
    // faster by one thread, and short at last, so that all end together (guided self-scheduling:
    // Polychronopoulos and Kuck, 1987); none is longer than `most`. While enough is left for all, a
    // thread takes its next run before the last work of one.
    template <typename Work>
    void share(int count, Work work, int most = 1 << 20) {
        int at, end;
        for (claim(count, most, at, end); at < count;) {
            int now = at++;
            bool early = at == end && next.load(std::memory_order_relaxed) + size <= count;
            if (early) claim(count, most, at, end);
            work(now, at < std::min(end, count) ? at : now);
            if (at == end && !early) claim(count, most, at, end);
        }
        barrier();
    }

    const int size;

  private:
    static constexpr int SPINS = 4000;

    // The next run is at..end; none is left where `at` is not below `count`.
    void claim(int count, int most, int& at, int& end) {
        at = next.load(std::memory_order_relaxed);
        do end = at + std::min(most, 1 + (count - at - 1) / (2 * size));
        while (at < count && !next.compare_exchange_weak(at, end, std::memory_order_relaxed));
    }

    void serve(int thread) {
        for (barrier(); job; barrier()) {
            (*job)(thread);
            barrier();
        }
    }

    void await(uint32_t turn) {
        for (int i = 0; i < SPINS; i++) {
            if (turns.load(std::memory_order_acquire) != turn) return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#else
            asm volatile("yield");
#endif
        }
        turns.wait(turn, std::memory_order_acquire);
    }

    std::vector<std::thread> others;
    const std::function<void(int)>* job = nullptr;
    alignas(64) std::atomic<uint32_t> turns{0};
    alignas(64) std::atomic<int> arrived{0};
    alignas(64) std::atomic<int> next{0};
};
