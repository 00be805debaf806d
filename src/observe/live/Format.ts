/**
 * Writes figures as people read them.
 */

export const count = (value: number): string => Math.round(value).toLocaleString("en")

export const percent = (part: number, whole: number): string =>
  whole === 0 ? "–" : `${((100 * part) / whole).toFixed(1)} %`

const units = ["B", "KB", "MB", "GB", "TB"] as const

export const bytes = (value: number): string => {
  let unit = 0
  let size = value
  for (; Math.abs(size) >= 1000 && unit < units.length - 1; unit++) size /= 1000
  return `${unit === 0 ? count(size) : size.toFixed(1)} ${units[unit] ?? ""}`
}

export const millis = (value: number | undefined): string => {
  if (value === undefined) return "–"
  if (value < 1000) return `${Math.round(value)} ms`
  return value < 60_000 ? `${(value / 1000).toFixed(1)} s` : lasting(value)
}

export const lasting = (value: number | undefined): string => {
  if (value === undefined) return "–"
  const seconds = Math.floor(value / 1000)
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ]
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`
}
