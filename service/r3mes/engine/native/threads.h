// The threads of a forward pass: they meet at barriers and share out work by a counter.
//
// A thread that waits spins about as long as most waits take, then sleeps: whom it waits for may need
// this very core. It never yields, as libstdc++'s atomics do: that may give a stranger a time slice.
#pragma once
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
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
        {
            std::lock_guard held(door);
            turns.store(turn + 1, std::memory_order_release);
        }
        opened.notify_all();
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
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::microseconds SPIN{10};

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
        auto passed = [&] { return turns.load(std::memory_order_acquire) != turn; };
        for (auto late = Clock::now() + SPIN; Clock::now() < late;)
            if (passed()) return;
        std::unique_lock held(door);
        opened.wait(held, passed);
    }

    std::vector<std::thread> others;
    const std::function<void(int)>* job = nullptr;
    alignas(64) std::mutex door;
    std::condition_variable opened;
    alignas(64) std::atomic<uint32_t> turns{0};
    alignas(64) std::atomic<int> arrived{0};
    alignas(64) std::atomic<int> next{0};
};
