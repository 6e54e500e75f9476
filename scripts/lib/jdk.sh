# Finds a JDK that candle4j can be built and run with. To be sourced; works with bash 3.2, which macOS
# has.
#
#   find_jdk       prints its home, or fails
#   require_jdk    exports that as JAVA_HOME, or says in one line what is missing and fails

least_jdk=22

# The feature version of the JDK whose home is $1, such as 22; nothing when there is no JDK.
# A running `java -version` would take longer than everything else here.
jdk_version() {
  local line version
  [[ -x "$1/bin/java" && -x "$1/bin/javac" && -r "$1/release" ]] || return 1
  while IFS= read -r line; do
    case "$line" in
      JAVA_VERSION=*)
        version="${line#JAVA_VERSION=}"
        version="${version//\"/}"
        version="${version#1.}"
        version="${version%%[!0-9]*}"
        printf '%s\n' "${version:-0}"
        return 0
        ;;
    esac
  done <"$1/release"
  return 1
}

# The home of the JDK that the command java on the PATH belongs to.
jdk_of_path() {
  local java link
  java="$(command -v java)" || return 1
  while link="$(readlink "$java")"; do
    case "$link" in
      /*) java="$link" ;;
      *) java="$(dirname "$java")/$link" ;;
    esac
  done
  (cd "$(dirname "$java")/.." && pwd -P)
}

# What the user chose comes first, then the newest of the usual places.
find_jdk() {
  local home version best="" best_version=0
  home="${JAVA_HOME:-}"
  if [[ -n "$home" ]] && version="$(jdk_version "$home")" && ((version >= least_jdk)); then
    printf '%s\n' "$home"
    return 0
  fi
  if home="$(jdk_of_path)" && version="$(jdk_version "$home")" && ((version >= least_jdk)); then
    printf '%s\n' "$home"
    return 0
  fi
  for home in /usr/lib/jvm/* /Library/Java/JavaVirtualMachines/*/Contents/Home \
    "${HOME:-}"/.sdkman/candidates/java/* /opt/*jdk*; do
    if version="$(jdk_version "$home")" && ((version >= least_jdk && version > best_version)); then
      best="$home"
      best_version="$version"
    fi
  done
  [[ -n "$best" ]] || return 1
  printf '%s\n' "$best"
}

require_jdk() {
  JAVA_HOME="$(find_jdk)" || {
    echo "$(basename "$0"): no JDK $least_jdk or later in JAVA_HOME, on the PATH or in the usual folders; install one or set JAVA_HOME" >&2
    return 1
  }
  export JAVA_HOME
}
