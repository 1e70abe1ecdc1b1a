// The cells of LSTM and GRU: torch has one kernel for each on devices that are not the CPU.

#pragma once

#include "kernels.h"

#include <ATen/ATen.h>

namespace sim {

using Optional = std::optional<at::Tensor>;

// One kernel of several operators of the CPU.  `compute` is given the tensors of the CPU.
template <size_t N>
std::array<at::Tensor, N> one_kernel(
    const char* name,
    std::vector<Optional> given,
    const std::function<std::array<at::Tensor, N>(std::vector<at::Tensor>&)>& compute) {
  c10::Device device(TYPE, current_device());
  for (const Optional& one : given) {
    if (one.has_value() && on_sim(*one)) {
      device = one->device();
    }
  }
  Launch launch(device.index());
  Stand stand;
  std::array<at::Tensor, N> made;
  {
    const Hidden hidden;
    std::vector<at::Tensor> tensors;
    for (const Optional& one : given) {
      tensors.push_back(one.has_value() && one->defined() ? stand.in(*one) : at::Tensor());
    }
    made = compute(tensors);
  }
  for (at::Tensor& one : made) {
    one = stand.out(one, device);
  }
  launch.end(name, stand.bytes());
  return made;
}

inline at::Tensor plus(const at::Tensor& gates, const at::Tensor& bias) {
  return bias.defined() ? gates + bias : gates;
}

inline at::Tensor or_zeros(const at::Tensor& gradient, const at::Tensor& like) {
  return gradient.defined() ? gradient : at::zeros_like(like);
}

// Gates in order: input, forget, cell, output.  Returns the new hidden and cell state, and the
// activated gates for the backward.
inline std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm_cell(
    const at::Tensor& from_input,
    const at::Tensor& from_hidden,
    const at::Tensor& cell,
    const Optional& input_bias,
    const Optional& hidden_bias) {
  const auto [hidden, next, gates] = one_kernel<3>(
      "_thnn_fused_lstm_cell",
      {from_input, from_hidden, cell, input_bias, hidden_bias},
      [](std::vector<at::Tensor>& all) -> std::array<at::Tensor, 3> {
        const auto parts = (plus(all[0], all[3]) + plus(all[1], all[4])).chunk(4, 1);
        const auto i = parts[0].sigmoid(), f = parts[1].sigmoid();
        const auto g = parts[2].tanh(), o = parts[3].sigmoid();
        const auto after = f * all[2] + i * g;
        return {o * after.tanh(), after, at::cat({i, f, g, o}, 1)};
      });
  return {hidden, next, gates};
}

// Returns the gradients of the gates, of the cell state, and of each bias.
inline std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm_cell_backward(
    const Optional& of_hidden,
    const Optional& of_cell,
    const at::Tensor& cell,
    const at::Tensor& next,
    const at::Tensor& gates,
    bool has_bias) {
  const auto [of_gates, of_before, of_bias] = one_kernel<3>(
      "_thnn_fused_lstm_cell_backward",
      {of_hidden, of_cell, cell, next, gates},
      [has_bias](std::vector<at::Tensor>& all) -> std::array<at::Tensor, 3> {
        const auto hidden = or_zeros(all[0], all[2]), tanh = all[3].tanh();
        const auto parts = all[4].chunk(4, 1);
        const auto &i = parts[0], &f = parts[1], &g = parts[2], &o = parts[3];
        const auto after = or_zeros(all[1], all[2]) + hidden * o * (1 - tanh * tanh);
        const auto made = at::cat(
            {after * g * i * (1 - i),
             after * all[2] * f * (1 - f),
             after * i * (1 - g * g),
             hidden * tanh * o * (1 - o)},
            1);
        return {made, after * f, has_bias ? made.sum(0) : at::Tensor()};
      });
  return {of_gates, of_before, of_bias};
}

// Gates in order: reset, update, new.  Returns the new hidden state, and for the backward the
// activated gates, the hidden state, and what the reset gate multiplies.
inline std::tuple<at::Tensor, at::Tensor> gru_cell(
    const at::Tensor& from_input,
    const at::Tensor& from_hidden,
    const at::Tensor& hidden,
    const Optional& input_bias,
    const Optional& hidden_bias) {
  const auto [next, kept] = one_kernel<2>(
      "_thnn_fused_gru_cell",
      {from_input, from_hidden, hidden, input_bias, hidden_bias},
      [](std::vector<at::Tensor>& all) -> std::array<at::Tensor, 2> {
        const auto input = plus(all[0], all[3]).chunk(3, 1);
        const auto state = plus(all[1], all[4]).chunk(3, 1);
        const auto r = (input[0] + state[0]).sigmoid(), z = (input[1] + state[1]).sigmoid();
        const auto n = (input[2] + r * state[2]).tanh();
        return {n + z * (all[2] - n), at::cat({r, z, n, all[2], state[2]}, 1)};
      });
  return {next, kept};
}

// Returns the gradients of both kinds of gates, of the hidden state, and of both biases.
inline std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> gru_cell_backward(
    const at::Tensor& of_next, const at::Tensor& kept, bool has_bias) {
  const auto made = one_kernel<5>(
      "_thnn_fused_gru_cell_backward",
      {of_next, kept},
      [has_bias](std::vector<at::Tensor>& all) -> std::array<at::Tensor, 5> {
        const auto parts = all[1].chunk(5, 1);
        const auto &r = parts[0], &z = parts[1], &n = parts[2];
        const auto &hidden = parts[3], &state = parts[4];
        const auto update = all[0] * (hidden - n) * z * (1 - z);
        const auto fresh = all[0] * (1 - z) * (1 - n * n);
        const auto reset = fresh * state * r * (1 - r);
        const auto input = at::cat({reset, update, fresh}, 1);
        const auto before = at::cat({reset, update, fresh * r}, 1);
        return {
            input,
            before,
            all[0] * z,
            has_bias ? input.sum(0) : at::Tensor(),
            has_bias ? before.sum(0) : at::Tensor()};
      });
  return {made[0], made[1], made[2], made[3], made[4]};
}

} // namespace sim
