#include "cuda/launch_graphs.hpp"

#include <new>

#include "cuda/relaxed_capture.hpp"

namespace moe4j::cuda {
namespace {

bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream, &status) == cudaSuccess) {
    return status != cudaStreamCaptureStatusNone;
  }
  cudaGetLastError();  // the launch's to report
  return true;
}

Status launch_one_by_one(cudaStream_t stream, bool dependent, Chain& chain) {
  for (int i = 0; i < chain.size(); ++i) {
    KernelLaunch& launch = chain[i];
    cudaLaunchAttribute attributes[2];
    unsigned count = 0;
    if (i > 0 && dependent) {
      attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attributes[count++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (launch.cluster > 1) {
      attributes[count].id = cudaLaunchAttributeClusterDimension;
      attributes[count++].val.clusterDim = {static_cast<unsigned>(launch.cluster), 1, 1};
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = launch.grid;
    config.blockDim = dim3(static_cast<unsigned>(launch.threads));
    config.dynamicSmemBytes = static_cast<size_t>(launch.shared_bytes);
    config.stream = stream;
    config.attrs = attributes;
    config.numAttrs = count;
    MOE4J_RETURN_IF_ERROR(
        cuda_status(cudaLaunchKernelExC(&config, launch.kernel, launch.arguments), launch.name));
  }
  return Status::ok();
}

cudaKernelNodeParams node_parameters(KernelLaunch& launch) {
  cudaKernelNodeParams parameters = {};
  parameters.func = const_cast<void*>(launch.kernel);
  parameters.gridDim = launch.grid;
  parameters.blockDim = dim3(static_cast<unsigned>(launch.threads));
  parameters.sharedMemBytes = static_cast<unsigned>(launch.shared_bytes);
  parameters.kernelParams = launch.arguments;
  return parameters;
}

}  // namespace

/** A graph of kernels, one after the other, whose arguments change from launch to launch. */
struct LaunchGraphs::Graph {
  struct Node {
    const void* kernel;
    int cluster;
    cudaGraphNode_t handle;
  };

  // Of LaunchGraphs' mutex:
  cudaStream_t stream = nullptr;  // that it is for
  uint64_t last_launch = 0;

  std::vector<Node> nodes;
  std::mutex mutex;  // from setting arguments to the launch
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;

  Graph() = default;
  /** What of it is still running runs to its end. */
  ~Graph() {
    const RelaxedCapture relaxed;
    if (executable != nullptr) cudaGraphExecDestroy(executable);
    if (graph != nullptr) cudaGraphDestroy(graph);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  cudaError_t make(bool dependent, Chain& chain) {
    const RelaxedCapture relaxed;
    cudaError_t error = cudaGraphCreate(&graph, 0);
    for (int i = 0; i < chain.size() && error == cudaSuccess; ++i) {
      error = add(dependent, chain[i]);
    }
    return error == cudaSuccess ? cudaGraphInstantiate(&executable, graph, 0) : error;
  }

  bool is_of(Chain& chain) const {
    if (static_cast<int>(nodes.size()) != chain.size()) return false;
    for (int i = 0; i < chain.size(); ++i) {
      const Node& node = nodes[static_cast<size_t>(i)];
      if (node.kernel != chain[i].kernel || node.cluster != chain[i].cluster) return false;
    }
    return true;
  }

  Status launch(cudaStream_t on, Chain& chain) {
    const std::lock_guard<std::mutex> lock(mutex);
    for (int i = 0; i < chain.size(); ++i) {
      const cudaKernelNodeParams parameters = node_parameters(chain[i]);
      MOE4J_RETURN_IF_ERROR(
          cuda_status(cudaGraphExecKernelNodeSetParams(
                          executable, nodes[static_cast<size_t>(i)].handle, &parameters),
                      chain[i].name));
    }
    return cuda_status(cudaGraphLaunch(executable, on), chain[0].name);
  }

 private:
  cudaError_t add(bool dependent, KernelLaunch& launch) {
    Node node = {launch.kernel, launch.cluster, nullptr};
    const cudaKernelNodeParams parameters = node_parameters(launch);
    cudaError_t error = cudaGraphAddKernelNode(&node.handle, graph, nullptr, 0, &parameters);
    if (error == cudaSuccess && launch.cluster > 1) {
      cudaLaunchAttributeValue value = {};
      value.clusterDim = {static_cast<unsigned>(launch.cluster), 1, 1};
      error =
          cudaGraphKernelNodeSetAttribute(node.handle, cudaLaunchAttributeClusterDimension, &value);
    }
    if (error == cudaSuccess && !nodes.empty()) {
      cudaGraphEdgeData edge = {};
      if (dependent) {
        edge.from_port = cudaGraphKernelNodePortProgrammatic;
        edge.type = cudaGraphDependencyTypeProgrammatic;
      }
      error = cudaGraphAddDependencies(graph, &nodes.back().handle, &node.handle, &edge, 1);
    }
    nodes.push_back(node);
    return error;
  }
};

LaunchGraphs::LaunchGraphs(bool dependent) : dependent_(dependent) {}
LaunchGraphs::~LaunchGraphs() = default;

size_t LaunchGraphs::size() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return graphs_.size();
}

std::shared_ptr<LaunchGraphs::Graph> LaunchGraphs::graph_for(cudaStream_t stream, Chain& chain) {
  using Place = std::shared_ptr<Graph>;
  const std::lock_guard<std::mutex> lock(mutex_);
  ++launches_;
  const auto use = [&](const Place& place) {
    place->stream = stream;
    place->last_launch = launches_;
    return place;
  };
  Place* oldest = nullptr;          // the least recently used
  Place* oldest_of_kind = nullptr;  // and among those of such chains
  const auto is_older = [](const Place& place, const Place* other) {
    return other == nullptr || place->last_launch < (*other)->last_launch;
  };
  for (Place& place : graphs_) {
    if (is_older(place, oldest)) oldest = &place;
    if (!place->is_of(chain)) continue;
    if (place->stream == stream) return use(place);
    if (is_older(place, oldest_of_kind)) oldest_of_kind = &place;
  }
  const bool full = graphs_.size() == kMostGraphs;
  if (full && (oldest == oldest_of_kind || launches_ - (*oldest)->last_launch <= kIdleLaunches)) {
    return oldest_of_kind != nullptr ? use(*oldest_of_kind) : nullptr;
  }
  auto made = std::make_shared<Graph>();
  if (made->make(dependent_, chain) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  if (full) {
    *oldest = made;
  } else {
    graphs_.push_back(made);
  }
  return use(made);
}

Status LaunchGraphs::launch(cudaStream_t stream, Chain& chain) noexcept {
  if (chain.size() > 1 && !is_capturing(stream)) {
    std::shared_ptr<Graph> graph;  // another thread may give its place away meanwhile
    try {
      graph = graph_for(stream, chain);
    } catch (const std::bad_alloc&) {
      graph = nullptr;
    }
    if (graph != nullptr) return graph->launch(stream, chain);
  }
  return launch_one_by_one(stream, dependent_, chain);
}

}  // namespace moe4j::cuda
