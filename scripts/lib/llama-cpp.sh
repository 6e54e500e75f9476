# Sourced by benchmarks beside llama.cpp.

# llama_cpp_sources FOLDER: unpacks llama.cpp's sources, which its Python package brings, below FOLDER unless they are
# there; $llama_cpp is their folder then.
llama_cpp_sources() {
  if ! compgen -G "$1/llama_cpp_python-*/vendor/llama.cpp" >/dev/null; then
    mkdir -p "$1"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
      --dest "$1" llama-cpp-python==0.3.36
    tar -xzf "$1"/llama_cpp_python-*.tar.gz -C "$1"
  fi
  llama_cpp="$(compgen -G "$1/llama_cpp_python-*/vendor/llama.cpp")"
}

# llama_cpp_build FOLDER NAME PROGRAM... [-DOPTION...]: builds programs of the sources in FOLDER/NAME, unless they are
# there.
llama_cpp_build() {
  local build="$1/$2" option program programs=() options=()
  shift 2
  for option in "$@"; do
    case "$option" in
      -D*) options+=("$option") ;;
      *) programs+=("$option") ;;
    esac
  done
  for program in "${programs[@]}"; do
    [ ! -x "$build/bin/$program" ] || continue
    cmake -S "$llama_cpp" -B "$build" -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
      -DLLAMA_BUILD_UI=OFF -DLLAMA_OPENSSL=OFF "${options[@]}" >&2
    cmake --build "$build" --target "$program" --parallel "$(nproc)" >&2
  done
}
