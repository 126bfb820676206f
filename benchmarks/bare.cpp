// The yardstick: a bare event loop of the same model on a chain, with nothing else around it.
// Usage: bare LINKS RATE WERNER LENGTH_KM SECONDS SEED -> "delivered mean_werner events wall_seconds"
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <queue>
#include <random>
#include <vector>

enum Kind { INJECT, PAIR, HEADER, ACK };
struct Event { int64_t time; uint64_t order; int kind, link, gram; };
struct Later { bool operator()(const Event& a, const Event& b) const {
    return a.time != b.time ? a.time > b.time : a.order > b.order; } };
struct Gram { int64_t stored; double log_werner, decay; };
struct Link { std::deque<int> queue; int serving = -1; };

int main(int argc, char** argv) {
    if (argc != 7) return 2;
    const int links = atoi(argv[1]);
    const double rate = atof(argv[2]), werner = atof(argv[3]), km = atof(argv[4]), seconds = atof(argv[5]);
    const int64_t cycle = 1000000, latency = llround(km / 2e5 * 1e9), until = llround(seconds * 1e9);
    const double capacity = 1.5 * std::pow(10.0, -0.01 * km) / 1e-3, p = capacity * 1e-3 * (1 - werner);
    const double hazard = -std::log1p(-p), gamma = 2 * 0.1, log_werner = std::log(werner);

    std::mt19937_64 random(atoi(argv[6]));
    auto exponential = [&] { return -std::log(((random() >> 11) + 1) * 0x1p-53); };
    std::priority_queue<Event, std::vector<Event>, Later> events;
    uint64_t order = 0;
    auto at = [&](int64_t time, int kind, int link, int gram) { events.push({time, order++, kind, link, gram}); };
    std::vector<Gram> grams;
    std::vector<int> unused;
    std::vector<Link> line(links);
    auto serve = [&](int l, int64_t now) {
        Link& link = line[l];
        if (link.serving >= 0 || link.queue.empty()) return;
        link.serving = link.queue.front();
        link.queue.pop_front();
        at(now + (int64_t)std::fmax(std::ceil(exponential() / hazard), 1) * cycle, PAIR, l, link.serving);
    };

    int64_t delivered = 0, handled = 0;
    double sum = 0;
    const auto begin = std::chrono::steady_clock::now();
    at((int64_t)(exponential() / rate * 1e9), INJECT, 0, -1);
    while (events.top().time < until) {
        const Event e = events.top();
        events.pop();
        ++handled;
        switch (e.kind) {
        case INJECT: {
            int g;
            if (unused.empty()) { g = (int)grams.size(); grams.push_back({}); }
            else { g = unused.back(); unused.pop_back(); }
            line[0].queue.push_back(g);
            serve(0, e.time);
            at(e.time + (int64_t)(exponential() / rate * 1e9), INJECT, 0, -1);
            break;
        }
        case PAIR: {
            Gram& gram = grams[e.gram];
            if (e.link == 0) gram.log_werner = log_werner, gram.decay = 0;
            else gram.decay += gamma * (e.time - gram.stored) * 1e-9, gram.log_werner += log_werner;
            gram.stored = e.time;
            line[e.link].serving = -1;
            at(e.time + latency, HEADER, e.link, e.gram);
            serve(e.link, e.time);
            break;
        }
        case HEADER:
            if (e.link + 1 < links) {
                line[e.link + 1].queue.push_back(e.gram);
                serve(e.link + 1, e.time);
            } else {
                Gram& gram = grams[e.gram];
                gram.decay += gamma * (e.time - gram.stored) * 1e-9;
                at(e.time + links * latency, ACK, 0, e.gram);
            }
            break;
        case ACK:
            ++delivered;
            sum += std::exp(grams[e.gram].log_werner - grams[e.gram].decay);
            unused.push_back(e.gram);
        }
    }
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("%lld %.6f %lld %.6f\n", (long long)delivered, sum / delivered, (long long)handled, wall);
}
